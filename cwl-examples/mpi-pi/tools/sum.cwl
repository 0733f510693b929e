cwlVersion: v1.2
class: CommandLineTool
doc: Pi, from all parts.
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {duration: 1}
baseCommand: python3
inputs:
  script:
    type: File
    default: {class: File, location: sum.py}
    inputBinding: {position: 1}
  radius:
    type: int
    inputBinding: {position: 2}
  parts:
    type: File[]
    inputBinding: {position: 3}
outputs:
  pi:
    type: File
    outputBinding: {glob: pi.json}
