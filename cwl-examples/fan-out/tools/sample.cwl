cwlVersion: v1.2
class: Workflow
doc: From one sample's trimmed reads to its picture.
inputs:
  trimmed: File
steps:
  postprocess:
    run: ../../tools/postprocess.cwl
    in: {trimmed: trimmed}
    out: [counts]
  analysis:
    run: ../../tools/analysis.cwl
    in: {counts: postprocess/counts}
    out: [model, log]
  visualization:
    run: ../../tools/visualization.cwl
    in: {model: analysis/model}
    out: [picture]
outputs:
  model: {type: File, outputSource: analysis/model}
  picture: {type: File, outputSource: visualization/picture}
  log: {type: File, outputSource: analysis/log}
