# An abort may overtake the prepare that it ends
shard 2
txn t1: 1 alice =1; 2 bob =1

> abort t1 #1
> prepare t1 #1 from c1
< c1: t1 #1 no, refused
> prepare t1 #2 from c1
+ 1 Prepare t1 #2 at @0: bob
> durable
< c1: t1 #2 yes at @0
