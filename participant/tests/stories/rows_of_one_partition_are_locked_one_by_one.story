# Two transactions write rows of one partition side by side; one that reads the other's row waits
shard 2
txn t1: 1 alice =1; 2 orders/bob/1 =1
txn t2: 1 carol =1; 2 orders/bob/2 =2
txn t3: 2 orders/bob/3 =1, orders/bob/1 if exists

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: orders/bob/1
> prepare t2 #1 from c2
+ 2 Prepare t2 #1 at @8: orders/bob/2
> durable
< c1: t1 #1 yes at @0
< c2: t2 #1 yes at @8
> single t3 from c3
> commit t1 #1 at @0
+ 3 Commit t1 #1 at @0
< read io1: orders/bob/1
> rows io1
+ 4 CommitSingle t3 at @16: reads orders/bob/1, orders/bob/3
> durable
< flush io2: orders/bob/1 = 1 @1
< tell 1: acknowledge t1 by 2
< c3: t3 committed at @16 by 1.4
