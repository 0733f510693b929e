cwlVersion: v1.2
class: CommandLineTool
doc: Fit a model to the spectrum of k-mers, on a GPU.
$namespaces:
  fluxop: "urn:fluxop:"
  cwltool: "http://commonwl.org/cwltool#"
hints:
  cwltool:CUDARequirement: {cudaVersionMin: "11.0", cudaComputeCapability: "3.0", cudaDeviceCountMin: 1}
  fluxop:FluxRequirement: {duration: 2}
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 2048}
baseCommand: python3
inputs:
  script:
    type: File
    default: {class: File, location: analysis.py}
    inputBinding: {position: 1}
  sample:
    type: string?
    doc: What to call it; else it is called after its reads.
    inputBinding: {position: 2, prefix: --sample}
  counts:
    type: [File, "File[]"]
    inputBinding: {position: 3}
outputs:
  model:
    type: File
    outputBinding: {glob: "*.model.json"}
  log:
    type: File
    doc: Which GPUs it was given.
    outputBinding: {glob: "*.log"}
