# A fence bars an id that nobody has seen; the transaction finds it closed when it comes
shard 1
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 carol =1

> fence t1 from c1
+ 1 Close t1: fenced
> durable
< c1: t1 known: closed: fenced
> prepare t1 #1 from c2
+ 2 Close t1 of 1 2: fenced
> restart
+ 0 Epoch 2
< leading in epoch 2
> prepare t1 #1 from c3
+ 1 Close t1 of 1 2: fenced
> open t1 from c3
> single t2 from c4
+ 2 CommitSingle t2 at @0: carol
> fence t2 from c5
> durable
< c3: t1 #1 closed: fenced
< c3: t1 known: closed: fenced, of 1 2
< flush io1: carol = 1 @1
< c4: t2 committed at @0 by 2.2
< c5: t2 known: committed at @0 by 2.2
