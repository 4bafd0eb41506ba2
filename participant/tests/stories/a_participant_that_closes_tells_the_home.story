# A condition that fails at a participant closes the transaction there, and the home is told why
shard 2
txn t1: 1 alice =1; 2 bob -5 if >= 5
store bob = 4 @-80

> prepare t1 #1 from c1
< read io1: bob
> rows io1
+ 1 Close t1 of 1 2: condition 0 on bob found 4
> durable
< tell 1: closed t1: condition 0 on bob found 4
< tell 1: acknowledge t1 by 2
< c1: t1 #1 closed: condition 0 on bob found 4
> wait 2100 ms
< tell 1: closed t1: condition 0 on bob found 4
< tell 1: acknowledge t1 by 2
> durable
> wait 2100 ms
< tell 1: closed t1: condition 0 on bob found 4
< tell 1: acknowledge t1 by 2
> finished t1
> wait 2100 ms
