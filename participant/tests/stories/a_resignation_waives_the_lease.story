# A leader that drains resigns with its last record, and its successor need not wait
shard 1
lease 2000 ms
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 carol =1
txn t3: 1 alice =3; 2 bob =3

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2
> durable
< c1: t1 #1 yes at @0
> drain
> single t2 from c2
< c2: overloaded
> prepare t3 #1 from c3
< c3: t3 #1 no, overloaded
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
> durable
< flush io1: alice = 1 @1
> wait 10 ms
> flushed io1
> wait 10 ms
+ 3 Resign
# It has said its last word: what comes now belongs to the successor.
> fence t3 from c4
< c4: not leading, epoch 1
> ask t1 from c5
< c5: not leading, epoch 1
> wait 200 ms
> durable
< halt: resigned
> restart
+ 0 Epoch 2
< leading in epoch 2
< flush io1: alice = 1 @1
