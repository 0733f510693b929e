cwlVersion: v1.2
class: Workflow
doc: Four lanes of one sample, preprocessed and postprocessed each by itself, then analysed together.
requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
inputs:
  sample: string
  lanes: File[]
steps:
  lane:
    run: tools/lane.cwl
    scatter: reads
    in: {reads: lanes}
    out: [counts]
  analysis:
    run: ../tools/analysis.cwl
    in: {sample: sample, counts: lane/counts}
    out: [model, log]
  visualization:
    run: ../tools/visualization.cwl
    in: {model: analysis/model}
    out: [picture]
outputs:
  model: {type: File, outputSource: analysis/model}
  picture: {type: File, outputSource: visualization/picture}
  log: {type: File, outputSource: analysis/log}
