# The home closes for a condemned attempt, unless another one is promised by now
shard 1
txn t1: 1 alice =1; 2 bob -5 if >= 5
txn t2: 1 carol =1; 2 dave -5 if >= 5

> open t1 from c1
+ 1 Intent t1
> open t2 from c1
+ 2 Intent t2
> durable
< c1: t1 opened in epoch 1
< c1: t2 opened in epoch 1
> wait 10 ms
< drive t1 #2
< drive t2 #2
> condemn t1 #2: condition 0 on bob found 4
+ 3 Close t1 of 1 2: condition 0 on bob found 4
> durable
< c1: t1 known: closed: condition 0 on bob found 4, of 1 2
> prepare t2 #2 from c9
+ 4 Prepare t2 #2 at @10000: carol, with the part of 2
> condemn t2 #1: condition 0 on dave found 4
> commit t2 #2 at @10000
+ 5 Commit t2 #2 at @10000
> durable
< c9: t2 #2 yes at @10000
< flush io1: carol = 1 @10001
< c1: t2 known: committed at @10000 by 1.5, of 1 2
