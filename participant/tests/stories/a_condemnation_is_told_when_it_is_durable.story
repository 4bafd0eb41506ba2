# Who waited for a lock when the home condemned the attempt hears of it only once that is durable
shard 1
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 alice =1; 2 bob -5 if >= 5

> open t2 from c1
+ 1 Intent t2
> wait 10 ms
> prepare t1 #1 from c1
+ 2 Prepare t1 #1 at @10000: alice, with the part of 2
> durable
< c1: t2 opened in epoch 1
< drive t2 #2
< c1: t1 #1 yes at @10000
> prepare t2 #2 from c9
> condemn t2 #2: condition 0 on bob found 4
+ 3 Close t2 of 1 2: condition 0 on bob found 4
> durable
< c9: t2 #2 closed: condition 0 on bob found 4
< c1: t2 known: closed: condition 0 on bob found 4, of 1 2
