# A fence closes a transaction that waits for a lock or a row
shard 1
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 alice =2; 2 bob =2
txn t3: 1 alice =3
txn t4: 2 dave =1; 1 alice =4

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2
> durable
< c1: t1 #1 yes at @0
> prepare t2 #1 from c2
+ 2 Intent t2
> single t3 from c3
> prepare t4 #1 from c4
> fence t2 from c5
+ 3 Close t2 of 1 2: fenced
> fence t3 from c5
+ 4 Close t3 of 1: fenced
> fence t4 from c5
+ 5 Close t4 of 1 2: fenced
> durable
< c2: t2 opened in epoch 1
< c2: t2 #1 no, refused
< c5: t2 known: closed: fenced, of 1 2
< c3: t3 closed: fenced
< c5: t3 known: closed: fenced, of 1
< c4: t4 #1 closed: fenced
< tell 2: closed t4: fenced
< tell 2: acknowledge t4 by 1
< c5: t4 known: closed: fenced, of 1 2
