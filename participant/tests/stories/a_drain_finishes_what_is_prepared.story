# A leader that drains takes nothing new, finishes what it holds and what waits for it, and resigns
shard 2
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 carol =1; 2 bob =2
txn t3: 2 dave =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> prepare t2 #1 from c2
> durable
< c1: t1 #1 yes at @0
> drain
> single t3 from c3
< c3: overloaded
> open t3 from c3
< c3: not leading, epoch 1
> wait 10 ms
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
+ 3 Prepare t2 #1 at @10000: bob
> durable
< flush io1: bob = 1 @1
< tell 1: acknowledge t1 by 2
< c2: t2 #1 yes at @10000
> abort t2 #1
+ 4 Abort t2 #1
> durable
> wait 10 ms
> flushed io1
> wait 10 ms
+ 5 Resign
> durable
< halt: resigned
