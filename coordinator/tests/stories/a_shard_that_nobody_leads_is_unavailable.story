# A call to a shard whose leader is not known is answered at once, before anything is sent
unled 2
txn t1: 1 alice -5; 2 bob +5
txn t2: 2 bob =1

> submit t1 as call 1
< call 1: 2 is not led
> submit t2 as call 2
< call 2: 2 is not led
> read as call 3: 2 bob
< call 3: 2 is not led
> outcome t1 as call 4
< call 4: 2 is not led
> route 2 epoch 4
> submit t2 as call 5
< s1 to 2: single t2
