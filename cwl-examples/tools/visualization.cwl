cwlVersion: v1.2
class: CommandLineTool
doc: Draw the spectrum of k-mers, the model and the GC content.
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {duration: 1.5}
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 512}
baseCommand: python3
inputs:
  script:
    type: File
    default: {class: File, location: visualization.py}
    inputBinding: {position: 1}
  model:
    type: File
    inputBinding: {position: 2}
outputs:
  picture:
    type: File
    outputBinding: {glob: "*.svg"}
