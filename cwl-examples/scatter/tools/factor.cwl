cwlVersion: v1.2
class: CommandLineTool
doc: The prime factors of a number.
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {duration: 0.1}
baseCommand: factor
inputs:
  number:
    type: long
    inputBinding: {position: 1}
stdout: $(inputs.number).txt
outputs:
  factors:
    type: stdout
