cwlVersion: v1.2
class: CommandLineTool
doc: Count the k-mers of trimmed reads, and the G and C in each read.
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {duration: 0.5}
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 512}
baseCommand: python3
inputs:
  script:
    type: File
    default: {class: File, location: postprocess.py}
    inputBinding: {position: 1}
  trimmed:
    type: File
    inputBinding: {position: 2}
arguments:
  - {position: 3, valueFrom: $(inputs.trimmed.nameroot).json}
outputs:
  counts:
    type: File
    outputBinding: {glob: $(inputs.trimmed.nameroot).json}
