# The home makes the whole durable while its lock is busy, and drives it when the attempt has ended
shard 1
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 alice =2; 3 carol =2

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2
> durable
< c1: t1 #1 yes at @0
> prepare t2 #1 from c2
+ 2 Intent t2
> durable
< c2: t2 opened in epoch 1
> ask t2 from c3
< c3: t2 known: open, of 1 3
> abort t2 #1
< c2: t2 #1 no, refused
> durable
> commit t1 #1 at @0
+ 3 Commit t1 #1 at @0
> durable
< flush io1: alice = 1 @1
> wait 10 ms
< drive t2 #2
> prepare t2 #2 from c9
+ 4 Prepare t2 #2 at @10000: alice, with the part of 3
> durable
< c9: t2 #2 yes at @10000
> commit t2 #2 at @10000
+ 5 Commit t2 #2 at @10000
> durable
