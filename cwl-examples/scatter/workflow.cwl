cwlVersion: v1.2
class: Workflow
doc: 200 small jobs, one a number, and one that gathers what they found.
requirements:
  ScatterFeatureRequirement: {}
inputs:
  numbers: long[]
steps:
  factor:
    run: tools/factor.cwl
    scatter: number
    in: {number: numbers}
    out: [factors]
  primes:
    run: tools/primes.cwl
    in: {factors: factor/factors}
    out: [primes]
outputs:
  primes: {type: File, outputSource: primes/primes}
