# A younger transaction waits for an older one, however long it takes
shard 2
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 carol =1; 2 bob =2

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> prepare t2 #1 from c2
> wait 30 ms
> wait 30 ms
> prepare t2 #1 from c3
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
+ 3 Prepare t2 #1 at @60000: bob
> durable
< flush io1: bob = 1 @1
< tell 1: acknowledge t1 by 2
< c2: t2 #1 yes at @60000
< c3: t2 #1 yes at @60000
