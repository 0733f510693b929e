cwlVersion: v1.2
class: Workflow
doc: One job of the article. Scattered over, sample by sample, so that no sample waits for another.
inputs:
  reads: File
steps:
  preprocess:
    run: ../../tools/preprocess.cwl
    in: {reads: reads}
    out: [trimmed]
  postprocess:
    run: ../../tools/postprocess.cwl
    in: {trimmed: preprocess/trimmed}
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
