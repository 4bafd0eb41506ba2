# Two shards promise and commit: the home remembers until the other holds the outcome
shard 1
txn t1: 1 alice -5 if >= 5; 2 bob +5
store alice = 9 @-80

> prepare t1 #1 from c1
< read io1: alice
> rows io1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2
> durable
< c1: t1 #1 yes at @0
> commit t1 #1 at @24 from c1
+ 2 Commit t1 #1 at @24
> durable
< flush io2: alice = 4 @25
> flushed io2
> acknowledge t1 by 2
< tell 2: finished t1 until -999
# A commit that comes again changes nothing.
> commit t1 #1 at @24 from c1
> acknowledge t1 by 2
< tell 2: finished t1 until -999
> wait 100 ms
+ 3 Finished t1
> durable
> ask t1 from c2
< c2: t1 known: committed at @24 by 1.2, of 1 2
