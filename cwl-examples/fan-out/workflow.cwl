cwlVersion: v1.2
class: Workflow
doc: One preprocess for a whole sequencing run, then each of its samples through the other steps by itself.
$namespaces: {fluxop: "urn:fluxop:"}
requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
inputs:
  run: File
  barcodes: File
steps:
  preprocess:
    run: tools/preprocess.cwl
    in: {run: run, barcodes: barcodes}
    out: [samples]
  sample:
    run: tools/sample.cwl
    scatter: trimmed
    in: {trimmed: preprocess/samples}
    out: [model, picture, log]
    hints:
      fluxop:FluxRequirement: {width: 3}  # only the run tells how many samples there are: what to plan with
outputs:
  models: {type: "File[]", outputSource: sample/model}
  pictures: {type: "File[]", outputSource: sample/picture}
  logs: {type: "File[]", outputSource: sample/log}
