# The home, told that a participant closed, drops every attempt and tells those that do not know
shard 1
txn t1: 1 alice =1; 2 bob -5 if >= 5; 3 carol =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2 3
> durable
< c1: t1 #1 yes at @0
> ask t1 wait from c2
> closed t1: condition 0 on bob found 4
+ 2 Close t1 of 1 2 3: condition 0 on bob found 4
> acknowledge t1 by 2
> durable
< c2: t1 known: closed: condition 0 on bob found 4, of 1 2 3
> wait 2100 ms
< tell 3: closed t1: condition 0 on bob found 4
> acknowledge t1 by 3
< tell 2: finished t1 until -999
< tell 3: finished t1 until -999
> durable
> wait 100 ms
+ 3 Finished t1
