# Recovery bars an attempt that waits for a lock, and who asked for it hears no
shard 2
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 carol =1; 2 bob =2

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> prepare t2 #1 from c2
> resolve t2 #1 from c3
+ 2 Refuse t2 #1
< c2: t2 #1 no, refused
> durable
< c3: t2 #1 resolved: refused
> commit t1 #1 at @8
+ 3 Commit t1 #1 at @8
> durable
< flush io1: bob = 1 @9
< tell 1: acknowledge t1 by 2
