# The home is asked to open what it is about to prepare: its own attempt finds the first one busy
shard 1
txn t1: 1 alice +1; 2 bob +1

> prepare t1 #1 from c1
< read io1: alice
> open t1 from c2
+ 1 Intent t1
> durable
< c2: t1 opened in epoch 1
> wait 10 ms
< drive t1 #2
> prepare t1 #2 from c9
< c9: t1 #2 no, busy
> abort t1 #2
> rows io1
+ 2 Prepare t1 #1 at @10000: alice, with the part of 2
> durable
< c1: t1 #1 yes at @10000
> commit t1 #1 at @10000
+ 3 Commit t1 #1 at @10000
> durable
< flush io2: alice = 1 @10001
< c2: t1 known: committed at @10000 by 1.3, of 1 2
