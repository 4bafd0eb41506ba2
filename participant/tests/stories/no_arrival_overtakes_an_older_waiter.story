# A transaction that comes later but is younger does not pass an older one that waits
shard 2
txn t1: 1 alice =1; 2 bob if >= 0
txn t2: 1 carol =1; 2 bob =2
txn t3: 1 dave =1; 2 bob if >= 0
txn t4: 2 bob =4
store bob = 0 @-80

> prepare t1 #1 from c1
< read io1: bob
> rows io1
+ 1 Prepare t1 #1 at @0: reads bob
> durable
< c1: t1 #1 yes at @0
> prepare t2 #1 from c2
# It could share the lock with t1, but t2 is older.
> prepare t3 #1 from c3
> single t4 from c4
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
+ 3 Prepare t2 #1 at @8: bob
> durable
< tell 1: acknowledge t1 by 2
< c2: t2 #1 yes at @8
> commit t2 #1 at @8
+ 4 Commit t2 #1 at @8
+ 5 Prepare t3 #1 at @16: reads bob
> durable
< flush io2: bob = 2 @9
< tell 1: acknowledge t2 by 2
< c3: t3 #1 yes at @16
> abort t3 #1
+ 6 Abort t3 #1
+ 7 CommitSingle t4 at @24: bob
> durable
< c4: t4 committed at @24 by 1.7
