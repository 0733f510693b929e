cwlVersion: v1.2
class: CommandLineTool
doc: The program, with MPI where there is a compiler for it.
$namespaces: {fluxop: "urn:fluxop:"}
hints:
  fluxop:FluxRequirement: {duration: 1}
baseCommand: sh
inputs:
  script:
    type: File
    default: {class: File, location: build.sh}
    inputBinding: {position: 1}
  with_mpi:
    type: File
    default: {class: File, location: pi.c}
    inputBinding: {position: 2}
  without:
    type: File
    default: {class: File, location: pi.py}
    inputBinding: {position: 3}
outputs:
  program:
    type: File
    outputBinding: {glob: pi}
