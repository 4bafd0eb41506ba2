# An older transaction waits 20 ms for a younger one that holds its lock, then has it recovered
shard 2
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 carol =1; 2 bob =2

> prepare t2 #1 from c2
+ 1 Prepare t2 #1 at @0: bob
> durable
< c2: t2 #1 yes at @0
> prepare t1 #1 from c1
> wait 15 ms
> wait 10 ms
< recover t2 #1 of 1 2
# Once is enough for a while.
> wait 10 ms
> abort t2 #1
+ 2 Abort t2 #1
+ 3 Prepare t1 #1 at @35000: bob
> durable
< c1: t1 #1 yes at @35000
