"""The tests, by the folders of batchrec; `acceptance`: the program from outside; `support`: shared."""
