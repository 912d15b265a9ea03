"""`neuronxcc.nki.kernels`: documented as a namespace whose kernels are published elsewhere, in
aws-neuron/nki-samples. Nothing of them is here; an import of one is answered so by the finder in
`nkisim.fallback`."""
