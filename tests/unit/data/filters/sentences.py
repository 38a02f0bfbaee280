"""Sentences in eight languages, written for these tests."""
# ruff: noqa: RUF001 - other languages have other letters

SENTENCES = {
    "zh": """
今天早上下了一场小雨，路边的树叶都湿了。
她把钥匙忘在办公室，只好又走回去拿。
这家面馆的老板记得每一位老顾客的口味。
我们打算明年春天骑车去海边住几天。
孩子们在院子里追着一只黄色的风筝跑。
修好这台旧收音机花了他整整一个周末。
图书馆晚上九点关门，请提前十分钟离开。
火车晚点了四十分钟，站台上的人都有些着急。
請把這封信交給住在三樓的林先生。
昨天晚上颱風經過，陽台上的花盆都倒了。
這條老街上還有幾家賣手工燈籠的店。
他們決定把舊房子重新粉刷一遍再搬進去。
姐姐買了一臺縫紉機，準備自己做窗簾。
圖書館對面新開了一間咖啡廳，週末總是坐滿人。
醫生說這種藥飯後服用，每日兩次。
雖然雨下得很大，比賽還是準時開始了。
山中有老翁，日出而耕，日入而歸，未嘗與人爭也。
客至，主人具酒食以待之，談至夜分而不倦。
昔有樵者入深山，見二童子對弈，觀之而忘其歸。
吾聞之，善治水者不與水爭，善教人者不與人辯。
其地多竹，居民以編器為業，歲入頗足。
舟行三日，始見人煙，問之則曰未嘗有外客至此。
先生好飲而不醉，好書而不藏，時人以為異。
有鳥焉，其羽白，其聲清，每鳴則霜降。
""",
    "en": """
The kettle had been whistling for a minute before anyone noticed.
She keeps a list of every bird that visits her balcony.
We took the slow road because the view over the lake is better.
My neighbour repairs violins in a shed behind his house.
Nobody could remember who had planted the old pear tree.
The library closes early on Fridays during the summer.
He folded the map the wrong way and put it in his pocket.
Our train stood outside the station for almost an hour.
They painted the kitchen yellow and regretted it within a week.
A small dog followed us all the way to the harbour.
Please leave your wet boots next to the door.
The recipe asks for more butter than seems reasonable.
It was raining so hard that the match was stopped twice.
I would rather walk than wait for another bus.
The children built a bridge out of string and wooden spoons.
Her first letter arrived three weeks after the second one.
""",
    "ja": """
今朝は雨が降っていたので、傘を持って出かけました。
この店のうどんは安くておいしいです。
弟は庭で犬と遊んでいます。
明日の会議は午後二時から始まります。
駅前に新しい本屋ができたそうです。
彼女は毎晩寝る前に日記を書いている。
電車が遅れて、約束の時間に間に合わなかった。
冷蔵庫の中に牛乳がもうありません。
祖父は古い時計を直すのが得意だった。
窓を開けると、海の匂いがした。
コーヒーを飲みながら新聞を読むのが好きだ。
この道をまっすぐ行くと、右側に学校があります。
昨日買った靴は少し小さかった。
桜の花が咲くころにまた来たいと思います。
すみません、切符売り場はどこですか。
テレビの音が大きすぎて、電話の声が聞こえない。
""",
    "de": """
Der Bäcker an der Ecke öffnet schon um fünf Uhr morgens.
Sie hat ihren Schlüssel im Büro vergessen und musste zurückgehen.
Wir fahren nächsten Sommer mit dem Fahrrad an die Küste.
Niemand wusste, wer den alten Birnbaum gepflanzt hatte.
Die Kinder bauten eine Brücke aus Schnur und Holzlöffeln.
Unser Zug stand fast eine Stunde vor dem Bahnhof.
Mein Nachbar repariert Geigen in einem Schuppen hinter dem Haus.
Bitte stellen Sie die nassen Stiefel neben die Tür.
Es regnete so stark, dass das Spiel zweimal unterbrochen wurde.
Ich gehe lieber zu Fuß, als auf den nächsten Bus zu warten.
Die Bibliothek schließt am Freitag etwas früher als sonst.
Er faltete die Karte falsch und steckte sie in die Tasche.
Am Abend saßen wir im Garten und erzählten alte Geschichten.
Das Rezept verlangt mehr Butter, als vernünftig erscheint.
Ein kleiner Hund folgte uns bis zum Hafen.
Ihr erster Brief kam drei Wochen nach dem zweiten an.
""",
    "fr": """
Le boulanger du coin ouvre dès cinq heures du matin.
Elle a oublié ses clés au bureau et a dû y retourner.
L'été prochain, nous irons à vélo jusqu'à la mer.
Personne ne savait qui avait planté le vieux poirier.
Les enfants ont construit un pont avec de la ficelle.
Notre train est resté presque une heure devant la gare.
Mon voisin répare des violons dans une cabane derrière sa maison.
Veuillez laisser vos bottes mouillées près de la porte.
Il pleuvait si fort que le match a été interrompu deux fois.
Je préfère marcher plutôt que d'attendre un autre bus.
La bibliothèque ferme plus tôt le vendredi.
Il a mal plié la carte et l'a mise dans sa poche.
Le soir, nous racontions de vieilles histoires au jardin.
La recette demande plus de beurre que de raison.
Un petit chien nous a suivis jusqu'au port.
Sa première lettre est arrivée trois semaines après la seconde.
""",
    "es": """
El panadero de la esquina abre a las cinco de la mañana.
Ella olvidó las llaves en la oficina y tuvo que volver.
El próximo verano iremos en bicicleta hasta la costa.
Nadie sabía quién había plantado el viejo peral.
Los niños construyeron un puente con cuerda y cucharas.
Nuestro tren estuvo casi una hora parado antes de la estación.
Mi vecino arregla violines en un cobertizo detrás de su casa.
Por favor, deje las botas mojadas junto a la puerta.
Llovía tanto que el partido se detuvo dos veces.
Prefiero caminar antes que esperar otro autobús.
La biblioteca cierra más temprano los viernes.
Dobló mal el mapa y lo guardó en el bolsillo.
Por la noche contábamos historias viejas en el jardín.
La receta pide más mantequilla de lo razonable.
Un perro pequeño nos siguió hasta el puerto.
Su primera carta llegó tres semanas después de la segunda.
""",
    "ru": """
Пекарь на углу открывает лавку в пять часов утра.
Она забыла ключи на работе и вернулась за ними.
Следующим летом мы поедем на велосипедах к морю.
Никто не помнил, кто посадил эту старую грушу.
Дети построили мост из верёвки и деревянных ложек.
Наш поезд почти час стоял перед станцией.
Мой сосед чинит скрипки в сарае за домом.
Пожалуйста, оставьте мокрые сапоги возле двери.
Дождь был такой сильный, что игру дважды остановили.
Я лучше пойду пешком, чем буду ждать автобус.
По пятницам библиотека закрывается раньше обычного.
Он неправильно сложил карту и убрал её в карман.
Вечером мы сидели в саду и рассказывали истории.
В этом рецепте больше масла, чем нужно.
Маленькая собака шла за нами до самой гавани.
Её первое письмо пришло через три недели после второго.
""",
    "ko": """
골목 끝에 있는 빵집은 아침 다섯 시에 문을 연다.
그녀는 열쇠를 사무실에 두고 와서 다시 돌아갔다.
내년 여름에 우리는 자전거를 타고 바다에 갈 것이다.
그 오래된 배나무를 누가 심었는지 아무도 몰랐다.
아이들은 끈과 나무 숟가락으로 다리를 만들었다.
기차가 역 앞에서 거의 한 시간 동안 서 있었다.
이웃집 아저씨는 집 뒤 창고에서 바이올린을 고친다.
젖은 장화는 문 옆에 놓아 주세요.
비가 너무 많이 와서 경기가 두 번 중단되었다.
다음 버스를 기다리느니 걸어가는 편이 낫다.
도서관은 금요일마다 조금 일찍 문을 닫는다.
그는 지도를 잘못 접어서 주머니에 넣었다.
저녁에 우리는 마당에 앉아 옛날이야기를 했다.
이 요리에는 버터가 생각보다 많이 들어간다.
작은 개 한 마리가 항구까지 우리를 따라왔다.
첫 번째 편지는 두 번째 편지보다 삼 주 늦게 왔다.
""",
}

HEADWORDS = {
    "zh": "苹果 雨伞 钥匙 图书馆 自行车 画蛇添足 守株待兔 電腦 颱風 縫紉機 一石二鸟 手机 牛奶 "
    "骄傲 三人成虎 醫生 春天 海边 收音机 亡羊补牢 好 山水 天气预报 茶叶 老师 学生 窗簾 火车 风筝",
    "en": "ox cat dog tree lamp go map bird road salt key tea boat rain letter door coat pear wind "
    "be note farm milk ring song hand snow path moon leaf",
    "ja": "うどん りんご さくら テレビ コーヒー お茶 食べる ありがとう "
    "ねこ いぬ くつ 新しい 走る カメラ ノート",
    "ko": "사과 우산 열쇠 도서관 자전거 바다 나무 학교 편지 기차 구두 시계 우유 봄 빵집",
    "ru": "дом кот лес море мост ключ дождь груша снег лампа чай сад день ночь хлеб",
}
