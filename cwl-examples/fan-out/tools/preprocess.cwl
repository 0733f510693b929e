cwlVersion: v1.2
class: CommandLineTool
doc: Trim the reads of a sequencing run, and tell its samples apart.
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {duration: 0.5}
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 512}
baseCommand: python3
inputs:
  script:
    type: File
    default: {class: File, location: ../../tools/preprocess.py}
    inputBinding: {position: 1}
  run:
    type: File
    inputBinding: {position: 2}
  barcodes:
    type: File
    inputBinding: {position: 3}
outputs:
  samples:
    type: File[]
    outputBinding: {glob: "*.fastq"}
