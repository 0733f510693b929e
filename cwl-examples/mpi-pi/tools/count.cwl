cwlVersion: v1.2
class: CommandLineTool
doc: Four processes on two nodes of their own, each with a share of the parts and its own output files.
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {nodes: 2, tasks: 4, coresPerTask: 2, exclusive: true, duration: 3}
inputs:
  program:
    type: File
    inputBinding: {position: 1}
  radius:
    type: int
    inputBinding: {position: 2}
  parts:
    type: int
    inputBinding: {position: 3}
outputs:
  parts:
    type: File[]
    outputBinding: {glob: part-*.json}
