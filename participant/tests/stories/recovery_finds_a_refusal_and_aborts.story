# Recovery that finds one refusal aborts, and what was promised is free again
shard 2
txn t1: 1 alice =1; 2 bob =1
txn t2: 2 bob =2

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> single t2 from c2
> abort t1 #1 from c3
+ 2 Abort t1 #1
+ 3 CommitSingle t2 at @8: bob
> durable
< flush io1: bob = 2 @9
< c2: t2 committed at @8 by 1.3
> prepare t1 #1 from c1
< c1: t1 #1 no, refused
> resolve t1 #1 from c3
< c3: t1 #1 resolved: refused
