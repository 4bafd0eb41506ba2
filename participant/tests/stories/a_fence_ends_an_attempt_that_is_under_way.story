# A fence closes at once when the home itself has not promised: nothing can be committed without it
shard 1
txn t1: 1 alice =1; 2 bob =1

> open t1 from c1
+ 1 Intent t1
> durable
< c1: t1 opened in epoch 1
> wait 10 ms
< drive t1 #2
> fence t1 from c2
+ 2 Close t1 of 1 2: fenced
> prepare t1 #2 from c9
> durable
< c1: t1 known: closed: fenced, of 1 2
< c2: t1 known: closed: fenced, of 1 2
< c9: t1 #2 closed: fenced
> wait 10 ms
