# Asked by recovery, a shard that has not promised refuses durably, before it says so, for ever
shard 2
txn t1: 1 alice =1; 2 bob =1

> resolve t1 #1 from c1
+ 1 Refuse t1 #1
> resolve t1 #1 from c2
> prepare t1 #1 from c3
> durable
< c1: t1 #1 resolved: refused
< c2: t1 #1 resolved: refused
< c3: t1 #1 no, refused
> restart
+ 0 Epoch 2
< leading in epoch 2
> prepare t1 #1 from c4
< c4: t1 #1 no, refused
> resolve t1 #1 from c5
< c5: t1 #1 resolved: refused
> checkpoint soon
> wait 10 ms
< sync io1
> synced io1
+ 1 Checkpoint chunk 0, the last
> durable
< checkpointed at p4, trim below p0
> restart from hint
+ 0 Epoch 3
< leading in epoch 3
> prepare t1 #1 from c6
< c6: t1 #1 no, refused
