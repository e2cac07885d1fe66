"""What the fleet costs, as lines in whole nano-dollars: pure, from what was said to what is owed.

A line is the cost of one part (a job, `idle`, `unknown`) of one device over one cell: a time in
which nothing changes and that crosses no UTC quarter-hour. So the days and months of any zone are
sums of the same lines, and a job costs the same in all of them.
"""
