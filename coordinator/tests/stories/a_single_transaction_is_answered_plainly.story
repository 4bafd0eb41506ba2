# What a shard says of the id or of its room is passed on
txn t1: 1 alice =1

> submit t1 as call 1
< s1 to 1: single t1
> s1 from 1: single t1 id reused
< call 1: id reused
> submit t1 as call 2
< s2 to 1: single t1
> s2 from 1: single t1 too old, floor -500
< call 2: too old, floor -500
> submit t1 as call 3
< s3 to 1: single t1
> s3 from 1: single t1 from the future
< call 3: from the future
> submit t1 as call 4
< s4 to 1: single t1
> s4 from 1: overloaded
< call 4: overloaded, the shard's queues
> submit t1 as call 5
< s5 to 1: single t1
> s5 from 1: single t1 no, drift
< call 5: its clock and that of 1 are apart
