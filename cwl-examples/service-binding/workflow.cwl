cwlVersion: v1.2
class: Workflow
doc: A genome put together from reads; where each step runs, streamflow.yml says.
inputs:
  reads: File
steps:
  preprocess:
    run: ../tools/preprocess.cwl
    in: {reads: reads}
    out: [trimmed]
  postprocess:
    run: ../tools/postprocess.cwl
    in: {trimmed: preprocess/trimmed}
    out: [counts]
  assemble:
    run: tools/assemble.cwl
    in: {counts: postprocess/counts}
    out: [contigs]
  report:
    run: tools/report.cwl
    in: {counts: postprocess/counts, contigs: assemble/contigs}
    out: [report]
outputs:
  contigs: {type: File, outputSource: assemble/contigs}
  report: {type: File, outputSource: report/report}
