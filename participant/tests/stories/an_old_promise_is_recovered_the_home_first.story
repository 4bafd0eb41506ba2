# What is undecided for two seconds is recovered by its home, and elsewhere after four
shard 1
txn t1: 1 alice =1; 2 bob =1
txn t2: 2 carol =1; 1 dave =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2
> prepare t2 #1 from c1
+ 2 Prepare t2 #1 at @8: dave
> durable
< c1: t1 #1 yes at @0
< c1: t2 #1 yes at @8
> wait 1900 ms
> wait 110 ms
< recover t1 #1 of 1 2
> wait 1900 ms
> wait 110 ms
< recover t1 #1 of 1 2
< recover t2 #1 of 1 2
