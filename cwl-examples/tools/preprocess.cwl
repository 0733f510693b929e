cwlVersion: v1.2
class: CommandLineTool
doc: Trim the reads of one sample.
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {duration: 0.5}
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 512}
baseCommand: python3
inputs:
  script:
    type: File
    default: {class: File, location: preprocess.py}
    inputBinding: {position: 1}
  reads:
    type: File
    inputBinding: {position: 2}
outputs:
  trimmed:
    type: File
    outputBinding: {glob: "*.fastq"}
