# A permanent reason found against a later attempt is the home's to act on: the attempt may be stale
shard 2
txn t1: 1 alice =1; 2 bob -5 if >= 5
store bob = 4 @-80

> prepare t1 #2 from c1
< read io1: bob
> rows io1
< c1: t1 #2 condemned: condition 0 on bob found 4
> prepare t1 #2 from c2
< c2: t1 #2 no, refused
> closed t1: condition 0 on bob found 4
+ 1 Close t1 of 1 2: condition 0 on bob found 4
> durable
< tell 1: closed t1: condition 0 on bob found 4
< tell 1: acknowledge t1 by 2
< tell 1: acknowledge t1 by 2
