# A read waits until nothing undecided covers its rows, and holds up nobody itself
shard 2
txn t1: 1 alice =1; 2 bob =7
txn t2: 1 alice =1; 2 bob =8
store bob = 1 @-80
store carol = 2 @-80

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> read only from c2: bob, carol
< read io1: bob, carol
> rows io1
# What comes after it may pass it: a read is only of its time.
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
> durable
< flush io2: bob = 7 @1
< tell 1: acknowledge t1 by 2
< c2: rows in epoch 1 at 2: bob = 7 @1, carol = 2 @-80
> read from c3: dave
< read io3: dave
> prepare t2 #1 from c1
+ 3 Prepare t2 #1 at @8: bob
> rows io3
> wait 30 ms
