cwlVersion: v1.2
class: Workflow
doc: Pi by counting points, with several processes on several nodes.
inputs:
  radius: int
  parts: int
steps:
  build:
    run: tools/build.cwl
    in: {}
    out: [program]
  count:
    run: tools/count.cwl
    in: {program: build/program, radius: radius, parts: parts}
    out: [parts]
  sum:
    run: tools/sum.cwl
    in: {radius: radius, parts: count/parts}
    out: [pi]
outputs:
  parts: {type: "File[]", outputSource: count/parts}
  pi: {type: File, outputSource: sum/pi}
