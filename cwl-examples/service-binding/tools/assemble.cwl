cwlVersion: v1.2
class: CommandLineTool
doc: Put the genome together.
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {duration: 3}
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 512}
baseCommand: python3
inputs:
  script:
    type: File
    default: {class: File, location: assemble.py}
    inputBinding: {position: 1}
  counts:
    type: File
    inputBinding: {position: 2}
outputs:
  contigs:
    type: File
    outputBinding: {glob: "*.fasta"}
