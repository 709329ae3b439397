"""CausalTrans: demand and supply on a graph, with the effects of treatments."""
