cwlVersion: v1.2
class: Workflow
doc: Two samples, each through preprocess, postprocess, analysis (on a GPU) and visualization.
requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
inputs:
  reads: File[]
steps:
  sample:
    run: tools/sample.cwl
    scatter: reads
    in: {reads: reads}
    out: [model, picture, log]
outputs:
  models: {type: "File[]", outputSource: sample/model}
  pictures: {type: "File[]", outputSource: sample/picture}
  logs: {type: "File[]", outputSource: sample/log}
