cwlVersion: v1.2
class: Workflow
doc: One lane's reads, trimmed and counted.
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
outputs:
  counts: {type: File, outputSource: postprocess/counts}
