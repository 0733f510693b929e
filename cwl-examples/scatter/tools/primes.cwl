cwlVersion: v1.2
class: CommandLineTool
doc: Those of the numbers that are prime.
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {duration: 1}
baseCommand: sh
inputs:
  script:
    type: File
    default: {class: File, location: primes.sh}
    inputBinding: {position: 1}
  factors:
    type: File[]
    inputBinding: {position: 2}
stdout: primes.txt
outputs:
  primes:
    type: stdout
