"""The whole text in one pass: BERT and its kin keep nothing, T5's decoder reads one."""
