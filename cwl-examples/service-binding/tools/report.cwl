cwlVersion: v1.2
class: CommandLineTool
doc: How good the assembly is.
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {duration: 1}
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 512}
baseCommand: python3
inputs:
  script:
    type: File
    default: {class: File, location: report.py}
    inputBinding: {position: 1}
  counts:
    type: File
    inputBinding: {position: 2}
  contigs:
    type: File
    inputBinding: {position: 3}
outputs:
  report:
    type: File
    outputBinding: {glob: "*.txt"}
