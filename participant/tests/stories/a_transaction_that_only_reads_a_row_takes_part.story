# A row that is only read is locked, checked and raises the timestamp, and nothing is written
shard 2
txn t1: 1 alice =5; 2 bob if >= 1
txn t2: 2 bob =0
store bob = 1 @-80

> prepare t1 #1 from c1
< read io1: bob
> rows io1
+ 1 Prepare t1 #1 at @0: reads bob
> durable
< c1: t1 #1 yes at @0
> single t2 from c2
> commit t1 #1 at @800 from c1
+ 2 Commit t1 #1 at @800
+ 3 CommitSingle t2 at @808: bob
> durable
< flush io2: bob = 0 @809
< tell 1: acknowledge t1 by 2
< c2: t2 committed at @808 by 1.3
